"""The texts that object tags display, and the places of their characters on the labelling screen."""
