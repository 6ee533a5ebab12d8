"""Stands in for Pulumi's `aws` plugin where the real one is missing; speaks AWS's API only."""
