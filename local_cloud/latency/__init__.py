"""How long things take in a cloud, when that is asked for."""

from local_cloud.latency.profile import Profile, ProfileError, profile_of, read_profile
from local_cloud.latency.times import Latency

__all__ = ["Latency", "Profile", "ProfileError", "profile_of", "read_profile"]
