"""Programs that tests run inside a container, as text: each stands alone and prints one JSON document."""
