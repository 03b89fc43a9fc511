"""What a teacher says of labels and of the fields of records, to be read and edited."""
