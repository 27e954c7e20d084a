"""Files of questions in, files of answers out, through kills and interruptions."""
