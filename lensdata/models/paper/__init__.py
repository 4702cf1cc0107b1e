"""The models the paper names, from a hub or a folder."""
