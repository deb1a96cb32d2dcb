"""One reader for each format; `FORMATS` in `bathymetry.runs.files` lists them."""
