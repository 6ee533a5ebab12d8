"""Gets what a fresh machine lacks: a Pulumi CLI, a Python environment, Debian packages.

Standard library only, because it runs before there is an environment to install anything into.
"""
