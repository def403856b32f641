"""What the container of an app is: its image, its confinement, and how it is started, read and ended."""
