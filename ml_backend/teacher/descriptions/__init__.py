"""The teacher's descriptions of labels and scores of the fields of records, which people can read and edit."""
