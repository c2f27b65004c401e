"""Walk-forward: train in every window, test what validation chose, stitch the tests together."""
