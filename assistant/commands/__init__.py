"""The command line: flags in, one call, its result out, an exit code."""
