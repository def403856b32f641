"""Tests of the app; those marked `e2e` ask a real daemon with its encoder and its default model."""
