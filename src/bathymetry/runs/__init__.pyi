from .aggregate import aggregate as aggregate
from .reading import read as read
