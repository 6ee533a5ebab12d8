"""Stack configuration -> typed settings. Every fault is found at once and told by its key."""

from settings.model import Settings
from settings.reading import SettingsError, read_file, read_settings
from settings.sections import MODELS_FOLDER

__all__ = ["MODELS_FOLDER", "Settings", "SettingsError", "read_file", "read_settings"]
