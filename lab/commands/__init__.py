"""The verbs of the command line, one module each; ``register(app)`` mounts what a module has."""
