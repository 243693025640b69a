"""What a day of images costs: this service, Amazon Rekognition, SageMaker asynchronous inference.

    python bench/costs.py [--images N]… [--rate R] [--busy SHARE] [--kilobytes KB] [--days D] [--json FILE]

Nothing is measured here: list prices of us-east-1 times quantities, each printed with its
part of the sum. A month is 30 days. ``--rate`` is images a second of one busy instance
(`bench/efficiency.py` measures it on one core), ``--busy`` the share of the billed
instance-seconds in which an instance works (`docs/scaling.md` has the scaler's).
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: Days and hours of a month.
DAYS, HOURS = 30, 720
#: Dollars an hour: a c7i.large, Linux (aws.amazon.com/ec2/pricing/on-demand); the same as
#: SageMaker's ml.c7i.large, by the fifth that SageMaker takes above EC2's price. Its own was found
#: nowhere; that fifth was, in transcripts of aws.amazon.com/sagemaker/pricing: ml.c5.large and
#: ml.c6i.large 0.102 (EC2 0.085), and in Stockholm ml.c7i.48xlarge 11.01 (EC2 9.173).
INSTANCE, SAGEMAKER = 0.08925, 0.08925 * 1.2
#: An instance that is always there: a t3.small (EC2), and a load balancer with one capacity
#: unit (aws.amazon.com/elasticloadbalancing/pricing).
SMALL, BALANCER = 0.0208, 0.0225 + 0.008
#: Dollars an hour of a public IPv4 address (aws.amazon.com/vpc/pricing), and a GB-month of a gp3
#: disk (aws.amazon.com/ebs/pricing); GiB of a disk.
ADDRESS, DISK, GIB = 0.005, 0.08, 16
#: Dollars a million: S3's PUT and LIST, SQS's calls, of which a million are free.
PUT, QUEUED = 5.0, 0.40
#: Calls that are made whether images come or not, seconds between two. The scaler: its lease (a
#: PUT), a look at reports (a LIST), two queues' lengths. A web process: the load balancer's two
#: nodes ask every ten seconds for a LIST and two queues.
LEASE, LOOK, CHECK = 4.0, 3.0, 5.0
#: Dollars for SQS and S3 calls of a million images: `bench/calls.py`.
CALLS = 10.70
#: Dollars a GB-month of S3 Standard (aws.amazon.com/s3/pricing).
STORAGE = 0.023
#: Dollars a GB that CloudWatch Logs takes (aws.amazon.com/cloudwatch/pricing), and bytes of an
#: image's three lines as it counts them: docs/logs.md. Keeping them is a hundredth of that.
LOGGED, LINES = 0.50, 684
#: DetectLabels: images a month up to here at this price (aws.amazon.com/rekognition/pricing, Group 2).
REKOGNITION = ((1e6, 0.0010), (5e6, 0.0008), (35e6, 0.0006), (math.inf, 0.00025))
#: S3 of an asynchronous request: the input's PUT and GET, the output's PUT and GET.
SAGEMAKER_CALLS = 2 * 5.0 + 2 * 0.40


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """What is to be classified, and how well machines are used."""

    #: images a day
    images: int
    #: images a second of one busy instance
    rate: float = 68.0
    #: of an instance's billed seconds those in which it works, 0 to 1
    busy: float = 0.6
    #: kB of an image
    kilobytes: float = 110.0
    #: days that an image is kept
    days: float = 7.0

    @property
    def hours(self) -> float:
        """Instance-hours a month."""
        return self.images * DAYS / self.rate / self.busy / 3600

    @property
    def storage(self) -> float:
        """Dollars a month for images that are kept."""
        return self.images * self.days * self.kilobytes / 1e6 * STORAGE


def tiered(images: float, tiers: Sequence[tuple[float, float]]) -> float:
    """Dollars for so many at prices that fall: (up to here, dollars each), rising."""
    total, below = 0.0, 0.0
    for upto, price in tiers:
        total += max(0.0, min(images, upto) - below) * price
        below = upto
    return total


def waiting(webs: int) -> float:
    """Dollars a month for calls that are made whether images come or not."""
    month = HOURS * 3600 / 1e6
    puts = month / LEASE + month / LOOK + webs * month / CHECK
    queued = 2 * month / LOOK + 2 * webs * month / CHECK
    return puts * PUT + max(0.0, queued - 1) * QUEUED


def parts(load: Load) -> dict[str, dict[str, float]]:
    """By service, dollars a month by what they are for."""
    millions = load.images * DAYS / 1e6
    # One web process is good for some 100 requests a second; two, so that one may fail.
    webs = max(2, math.ceil(load.images / 86_400 * 4 / 100))  # four times the day's mean at its peak
    return {
        "irs": {"instances": load.hours * INSTANCE, "calls": millions * CALLS, "storage": load.storage,
                "logs": millions * LINES / 1e3 * LOGGED,
                "web and scaler": (webs + 1) * SMALL * HOURS, "load balancer": BALANCER * HOURS,
                # Of web tier and scaler; the load balancer has two addresses.
                "addresses": (webs + 3) * ADDRESS * HOURS, "disks": (webs + 1) * GIB * DISK,
                "calls while it waits": waiting(webs)},
        "rekognition": {"images": tiered(load.images * DAYS, REKOGNITION)},
        "sagemaker": {"instances": load.hours * SAGEMAKER, "calls": millions * SAGEMAKER_CALLS,
                      "storage": load.storage},
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, action="append", help="a day; may be given again")
    for name in ("rate", "busy", "kilobytes", "days"):
        parser.add_argument(f"--{name}", type=float, default=Load.__dataclass_fields__[name].default)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    for images in options.images or (1_000, 100_000, 10_000_000):
        load = Load(images=images, rate=options.rate, busy=options.busy, kilobytes=options.kilobytes,
                    days=options.days)
        each = parts(load)
        found.append({"images_a_day": images, "parts": each,
                      "dollars_a_month": {name: sum(part.values()) for name, part in each.items()}})
        print(f"{images:,} images a day, {load.hours:,.1f} instance-hours a month")
        for name, part in each.items():
            whole = sum(part.values())
            print(f"  {name:<12} ${whole:>10,.2f} a month, ${1e3 * whole / images / DAYS:.4f} a thousand: "
                  + ", ".join(f"{what} {dollars:,.2f}" for what, dollars in part.items()))
    if options.json:
        options.json.write_text(json.dumps(found, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
