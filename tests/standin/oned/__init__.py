"""The stand-in's ``oned``: a small server that answers as OpenNebula's does."""
