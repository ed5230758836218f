"""What a user may ask for: typed, strict, checked for every host before any is touched."""

from nodeproof.settings.model import LayerSettings, setting
from nodeproof.settings.problems import Problem, SettingsError

__all__ = ["LayerSettings", "Problem", "SettingsError", "setting"]
