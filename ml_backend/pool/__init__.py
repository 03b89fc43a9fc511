"""The tasks of a project with their vectors, clusters and groups, kept between rounds."""
