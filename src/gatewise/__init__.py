"""gatewise: recurrent networks, gate by gate."""

from gatewise._version import __version__

__all__ = ["__version__"]
