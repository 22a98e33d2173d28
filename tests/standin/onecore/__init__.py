"""What the stand-in's server and its command line tools share."""
