"""What the container of an app is: image, profiles, limits, manifest."""
