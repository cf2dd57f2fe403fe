"""test."""
