"""What pyproject.toml cannot say: `recipes/` goes into the wheel as the folder `reverse_codi/recipes`."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["reverse_codi*", "reward*"]), "reverse_codi.recipes"],
    package_dir={"reverse_codi.recipes": "recipes"},
)
