"""Questions for the evaluation, written by hand: how customers might ask what the Debian FAQ and the corpus answer.

`PARAPHRASES` name the section that answers; none of them was used to fit anything. `UNANSWERED` sound alike, and
neither the Debian FAQ nor the corpus answers them.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Paraphrase:
    """A question and the heading of its section, or how that heading begins."""

    asked: str
    heading: str


PARAPHRASES = tuple(
    Paraphrase(asked, heading)
    for asked, heading in (
        ("how am I supposed to say the name debian", "How does one pronounce Debian"),
        ("what makes debian better than fedora or suse?", "What is the difference between Debian"),
        ("is linux the only kernel I can get with debian?", "Does Debian just do GNU/Linux?"),
        ("the programs in stable are ancient, what's the reason", "The stable distributions really contains"),
        ("my graphics card isn't recognised by the stable release", "You asked me to install stable"),
        ("moving from stable to unstable, possible?", "I am currently tracking stable"),
        ("I run ubuntu and would like to switch over to debian", "I'm using Knoppix/LMDE/Ubuntu"),
        ("which of the three flavours suits me best", "Which Debian distribution"),
        ("does it work on my arm board or an old powerpc", "On what hardware architectures"),
        ("can I install an rpm that was made for red hat", "Can I use Debian packages"),
        ("I want to install software that isn't packaged", "How should I install a non-Debian program?"),
        ("how do I join the project as a developer", "How can I become a Debian member"),
        ("I'd like to donate some money", "How can I contribute financially"),
        ("set A4 as the default page format everywhere", "How can I ensure that all programs use the same paper"),
        ("what happens when the machine starts up", "How does a Debian system boot?"),
        ("use my own version of a file that belongs to a package", "How do I override a file installed"),
        ("why are releases called buzz, rex, bo", "Where do these codenames come from?"),
        ("what is sid", 'What about "sid"?'),
        ("where can I download the source code", "Where is the source code?"),
        ("setting up a private package repository", "How do I set up my own apt-able repository?"),
        ("newest release number please", "What is the latest version of Debian?"),
        ("where do I download the iso", "Where/how can I get the Debian installation images?"),
        ("do I have to download everything first or can it install over the network", "Can I get and install Debian"),
        ("may I delete the old kernel", "Can I safely de-install an old kernel package"),
        ("compiling my own kernel, which tools help", "What tools does Debian provide to build custom kernels?"),
        ("what is inside a .deb", "What is the format of a Debian binary package?"),
        ("how come package file names are that lengthy", "Why are Debian package file names so long?"),
        ("which scripts run before and after installing a package", "What is a Debian preinst"),
        ("stop a package from being upgraded", "How do I put a package on hold?"),
        ("difference between recommends and suggests", "What is meant by saying that a package Depends"),
        ("how do I make a package of my own program", "How do I create Debian packages myself?"),
        ("list everything that is installed on my machine", "How can I tell what packages are already installed"),
        ("which package does this file belong to", "How can I find out what package produced"),
        ("what files does a package contain", "How do I display the files of an installed package?"),
        ("am I allowed to sell CDs with it", "Can I make and sell Debian CDs?"),
        ("is there java", "(How) Does Debian support Java?"),
        ("which release am I running right now", "How can I check that I am using a Debian system"),
        ("is my language supported", "How does Debian support non-English languages?"),
        ("where can I get help from other users online", "Are there any on-line resources"),
        ("I found a defect, whom do I tell", "How do I report a bug in Debian?"),
        ("how do I stay up to date", "How can I keep my Debian system current?"),
        ("can updates be installed without me doing anything", "Can I automatically update the system?"),
        ("can I throw away downloaded deb files", "Do I have to keep all those .deb archive files"),
        ("we have ten pcs and want to fetch updates just once", "I have several machines"),
        ("my notebook gets really hot", "My system is overheating."),
        ("the display of my monitor keeps blinking", "My screen is flickering."),
        ("no audio comes out of my speakers", "I can't hear any sound."),
        ("my camera is not found", "My webcam isn't detected."),
        ("the pc does not start any more", "My computer won't turn on."),
        ("I don't remember my password", "I forgot my password."),
    )
)

UNANSWERED = (
    "what does a support contract for debian cost per year",
    "which graphics card should I buy for gaming",
    "how do I write a bash script that renames files",
    "can I return my order after thirty days",
    "when will my parcel arrive",
    "how do I configure nginx as a reverse proxy",
    "what is the salary of a debian developer",
    "how do I connect to a VPN with wireguard",
    "does the office suite open pptx files with animations",
    "how do I set up raid 5 with mdadm",
    "my phone does not charge any more",
    "which cloud provider is the cheapest",
    "how do I write a systemd timer",
    "where do I find the invoice for last month",
    "how do I train a neural network on two gpus",
    "can you recommend a good mechanical keyboard",
    "how do I mount an NFS share at boot",
    "what are the opening hours of your shop",
    "how can I recover deleted photos from an sd card",
    "is there a student discount",
    "how do I use docker compose with secrets",
    "what is the warranty on the power supply",
    "how do I partition a disk with LVM and encryption",
    "why is my download so slow in the evening",
    "how do I change the language of my television",
)
