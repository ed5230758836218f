"""Install packages at exact versions with dnf 4, in one transaction.

Arguments: offers NAME..., which prints what repositories have of these, newest first, locked or
not; or look|make ALLOW-DOWNGRADE HOLD WORD...: a WORD is NAME=VERSION, or NAME- for one that must
go; ALLOW-DOWNGRADE and HOLD are yes or no. `look` prints what dnf would do, a line each;
`make` does it, and where dnf would remove or set back what it may not, or the versions are not
what was asked for afterwards, says the same and fails. Runs on the node, in Python 3.6 and later.
"""

import os
import re
import subprocess
import sys
import tempfile

import dnf
import hawkey

LOCKS = "/etc/dnf/plugins/versionlock.list"
LOG = "/run/nodeproof/packages.log"
NOTE = "/var/lib/nodeproof/dnf-unfinished"
SAYS = (
    r"Error|Failed|Problem|Public key|The downloaded|\s*- |\[[MF]"
    "|.*(?:No space left|more space|disk is full)"
)


class Report:
    """Lines for whoever asked."""

    def __init__(self):
        self.lines = []

    def say(self, kind, *words):
        """Add a line."""
        self.lines.append("|".join((kind, *words)).replace("\n", " "))

    def print(self, stream):
        """Print them all."""
        stream.write("".join(line + "\n" for line in self.lines))


def evr(package):
    """Return [EPOCH:]VERSION-RELEASE; no epoch is the epoch 0."""
    full = f"{package.version}-{package.release}"
    return full if package.epoch == 0 else f"{package.epoch}:{full}"


def opened():
    """Return dnf with the node's repositories; its plugins, which know of locks, are left out."""
    base = dnf.Base()
    base.conf.read()
    release = dnf.rpm.detect_releasever(base.conf.installroot)
    base.conf.substitutions["releasever"] = release or ""
    base.conf.substitutions.update_from_etc(base.conf.installroot)
    base.read_all_repos()
    base.fill_sack()
    return base


def tell_offers(names, report):
    """Report the versions of packages; a name may be of one build, such as kernel-devel-5.14-1."""
    try:
        base = opened()
    except dnf.exceptions.Error:
        return  # whoever installs hears why
    for name in names:
        found = dnf.subject.Subject(name).get_best_query(
            base.sack, with_provides=False, with_filenames=False
        )
        for one in sorted((one for one in found.available() if one.arch != "src"), reverse=True):
            report.say("offers", name, evr(one))


def ask(base, wanted, gone, report):
    """Tell dnf what is asked for."""
    available = base.sack.query().available()
    fitting = {}
    for name, version in wanted.items():
        offered = [one for one in available.filter(name=name) if one.arch != "src"]
        for one in sorted(offered, reverse=True):
            report.say("offers", name, evr(one))
            if evr(one) == version:
                fitting.setdefault(name, one)
        for one in base.sack.query().installed().filter(name=name):
            report.say("offers", name, evr(one))
    add_lockstep(available, fitting)
    for name, version in {**{n: evr(one) for n, one in fitting.items()}, **wanted}.items():
        report.say("wants", f"{name}={version}")
    for name, package in fitting.items():
        installed = list(base.sack.query().installed().filter(name=name))
        if not installed:
            base.package_install(package)
        elif all(evr(one) != evr(package) for one in installed):
            older = package < max(installed)
            (base.package_downgrade if older else base.package_upgrade)(package)
    for name in gone:
        base.remove(name)


def add_lockstep(available, fitting):
    """Add what is needed in at least a package's own version: dnf would take the newest."""
    todo = list(fitting.values())
    while todo:
        package = todo.pop()
        for words in (str(one).split() for one in package.requires):
            if len(words) != 3 or words[0] in fitting or words[1] not in ("=", ">="):
                continue
            same = [one for one in available.filter(name=words[0]) if evr(one) == evr(package)]
            own = evr(package)
            if same and words[2] in (own, package.version, own.rpartition("-")[0]):
                fitting[words[0]] = same[0]
                todo.append(same[0])


def acts(base):
    """Yield name, package before, package after, of all that would change."""
    comes = {one.name: one for one in base.transaction.install_set}
    goes = {one.name: one for one in base.transaction.remove_set}
    for name in sorted(comes.keys() | goes.keys()):
        yield name, goes.get(name), comes.get(name)


def relation(text):
    """Return a relation of rpm's as a relation of Debian's: NAME (= VERSION)."""
    words = str(text).split()
    return f"{words[0]} ({words[1]} {words[2]})" if len(words) == 3 else str(text)


def tell(base, report):
    """Report what would be done, and what explains it."""
    # Streams of modules that are not enabled offer versions, too: taking back enables them again.
    query = base.sack.query(flags=hawkey.IGNORE_MODULAR_EXCLUDES)
    for name, was, then in acts(base):
        how = ["older"] if was and then and then < was else []
        if was and not list(query.available().filter(name=name, evr=evr(was))):
            how.append("lost")
        if then:
            report.say("Inst", name, evr(was) if was else "", evr(then), " ".join(how))
            for one in then.conflicts:
                report.say("against", name, relation(one))
        else:
            report.say("Remv", name, evr(was), "", " ".join(how))
            report.say("needs", name, ", ".join(map(relation, was.requires)))


def look(wanted, gone, report):
    """Return dnf with a transaction, or None where it finds none."""
    try:
        base = opened()
        ask(base, wanted, gone, report)
        base.resolve(allow_erasing=True)
    except dnf.exceptions.Error as error:
        for line in str(error).splitlines():
            report.say("said", "E: " + line.strip())
        report.say("code", "1")
        return None
    tell(base, report)
    report.say("code", "0")
    return base


def exchange(base):
    """Have dnf itself do it, which checks signatures and keeps its history.

    A note says what comes, until all is well: rpm itself does not know what it was cut off from.
    Return how it ended, negative where a signal ended it, and what it said.
    """
    come = [then for _, _, then in acts(base) if then]
    write(NOTE, [f"{p.name}.{p.arch} {p.name}-{p.version}-{p.release}.{p.arch}" for p in come])
    os.makedirs(os.path.dirname(LOG), mode=0o700, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir="/run", prefix="nodeproof-") as script:
        for name, was, then in acts(base):
            if then is None:
                script.write(f"remove {name}\n")
            else:
                verb = "install" if was is None else "downgrade" if then < was else "upgrade"
                script.write(f"{verb} {then}\n")
        script.write("run\n")
        script.flush()
        words = ["dnf", "-y", "--disableplugin=versionlock", "--allowerasing"]
        words += ["--setopt=retries=1", "shell", script.name]
        with open(LOG, "w") as log:
            code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    with open(LOG) as log:
        return code, log.read().splitlines()


def write(path, lines):
    """Write a file in one step, durably."""
    with open(path + ".nodeproof", "w") as file:
        file.write("".join(line + "\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
    os.chmod(path + ".nodeproof", 0o644)
    os.rename(path + ".nodeproof", path)


def lock(versions):
    """Nail packages down; what was said of them before goes."""
    with open(LOCKS) as file:
        lines = file.read().splitlines()
    kept = [line for line in lines if line.rsplit("-", 2)[0] not in versions]
    new = []
    for name, version in sorted(versions.items()):
        full = version if ":" in version else "0:" + version
        new.append(f"{name}-{full}.*")
    write(LOCKS, kept + new)


def installed(names):
    """Return the versions of what is installed, anew from rpm."""
    form = r"%{name}|%|epoch?{%{epoch}:}|%{version}-%{release}\n"
    said = subprocess.check_output(["rpm", "-qa", "--qf", form], universal_newlines=True)
    rows = (line.partition("|") for line in said.splitlines())
    return {name: version for name, _, version in rows if names is None or name in names}


def make(wanted, gone, downgrade, hold):
    """Do it; return the exit code."""
    report = Report()
    base = look(wanted, gone, report)
    lines = report.lines
    offered = {tuple(line.split("|")[1:]) for line in lines if line.startswith("offers|")}
    wrong = base is None or any(item not in offered for item in wanted.items())
    if not wrong:
        wrong = any(not then and name not in gone for name, _, then in acts(base)) or (
            not downgrade and any(was and then and then < was for _, was, then in acts(base))
        )
    if wrong:
        report.print(sys.stderr)
        return 1
    moved = {name: evr(then) for name, _, then in acts(base) if then}
    code, said = exchange(base) if list(acts(base)) else (0, [])
    base.close()
    now = installed(None)
    missing = {name for name in {**moved, **wanted} if now.get(name) != {**moved, **wanted}[name]}
    missing |= gone & now.keys()
    if said and code >= 0 and not (missing and "Running transaction" in said):
        os.unlink(NOTE)
    if missing or code < 0:
        report = Report()
        for line in said[-40:]:
            if re.match(SAYS, line):
                report.say("said", "E: " + line.strip())
        if code < 0:
            report.say("said", f"E: dnf was ended by signal {-code}")
        report.say("code", "1")
        report.print(sys.stderr)
        return 1
    if hold:
        # What has the version of something that was asked for belongs to it.
        same = set(wanted.values())
        lock({name: version for name, version in {**moved, **wanted}.items() if version in same})
    return 0


def main(mode, *words):
    """Look, or do it."""
    report = Report()
    if mode == "offers":
        tell_offers(words, report)
        report.print(sys.stdout)
        return 0
    downgrade, hold, *words = words
    wanted = dict(word.split("=", 1) for word in words if "=" in word)
    gone = {word[:-1] for word in words if "=" not in word}
    if mode == "make":
        return make(wanted, gone, downgrade == "yes", hold == "yes")
    look(wanted, gone, report)
    report.print(sys.stdout)
    return 0


sys.exit(main(*sys.argv[1:]))
