"""Print what unattended-upgrade would do, by its own functions; nothing is fetched or changed.

A line each: `origin PATTERN`, where updates may come from; `alone PATTERN`, what is left alone; and
`would NAME`, what would be upgraded now.
"""

import sys
from importlib.machinery import SourceFileLoader
from types import ModuleType

loader = SourceFileLoader("program", "/usr/bin/unattended-upgrade")
program = ModuleType("program")
loader.exec_module(program)
if hasattr(program, "init_distro_info"):
    program.init_distro_info()
cache = program.UnattendedUpgradesCache(rootdir=None)  # one that is named is filled with folders
upgrades = program.calculate_upgradable_pkgs(cache, program.Options())
sys.stdout.writelines(f"origin {one}\n" for one in cache.allowed_origins)
sys.stdout.writelines(f"alone {one}\n" for one in cache.blacklist)
sys.stdout.writelines(f"would {one.name}\n" for one in upgrades)
