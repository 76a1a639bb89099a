#!/usr/bin/env python3
"""A cluster whose database is restored from a backup: backup_test.py --program PODFENCE --plugin PODFENCE_CNI --probe PROBE"""
import os
import shutil

from api_server_case import ApiServerCase
from cluster_case import main


class Backup(ApiServerCase):
    def test_what_was_changed_since_is_not_enforced_for_long(self):  # C4
        """Its resource versions come past the agents' cursors at once; what was said since the backup never was."""
        plane = self.cluster.plane
        backup = os.path.join(self.cluster.root, "backup")
        self.with_plane_stopped(lambda: shutil.copytree(plane.file("etcd"), backup))
        self.until_only("friend")
        self.admit("client")
        self.until_only("client")

        def restore():
            shutil.rmtree(plane.file("etcd"))
            shutil.move(backup, plane.file("etcd"))

        self.with_plane_stopped(restore)
        self.until_only("friend")

    def with_plane_stopped(self, action):
        plane = self.cluster.plane
        for name in ("kube-apiserver", "etcd"):
            plane.kill(name)
        action()
        plane.start_etcd()
        self.restart_api_server()


if __name__ == "__main__":
    main()
