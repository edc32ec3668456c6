"""What `make audit` and `make sbom` run, in a virtual environment of their own."""
