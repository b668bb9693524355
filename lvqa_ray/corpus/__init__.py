"""The input: manifest files, video ids, fingerprints."""
