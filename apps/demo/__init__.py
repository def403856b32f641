"""The main job, shown: overcommitted agents, an urgent question, a fork and a dead engine, and nothing lost."""
