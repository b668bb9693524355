"""Entry point for `ray job submit`; the same as `lvqa run` on Ray, with the same arguments.

ray job submit --working-dir . -- python jobs/long_video_qa.py jobs/full.yaml
"""

import sys

from lvqa_ray.cli import main

if __name__ == "__main__":
    sys.argv[1:] = ["run", *sys.argv[1:], "--set", "engine.executor=ray"]
    main()
