"""onebaton: replace an OpenNebula control plane, never upgrade it in place."""

__version__ = "0.1.0"
