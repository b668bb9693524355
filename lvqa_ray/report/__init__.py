"""Reports and exports: read the tables of an output, write one file or folder."""
