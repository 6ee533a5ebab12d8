"""Stack configuration -> typed settings. Every fault is found at once and told by its key."""

from settings.model import MODELS_FOLDER, Settings
from settings.reading import SettingsError, read_file, read_settings

__all__ = ["MODELS_FOLDER", "Settings", "SettingsError", "read_file", "read_settings"]
