"""Files of detection results of several data sets, read to and written from one form; a module a format."""
