package main

import (
	"os/exec"
	"syscall"
)

// dieWithParent ends the child with this process, however that ends: one that is paused would stay for ever.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// inMemory reports whether a folder is of a file system that has no disk.
func inMemory(dir string) bool {
	const tmpfs = 0x01021994
	var s syscall.Statfs_t
	return syscall.Statfs(dir, &s) == nil && s.Type == tmpfs
}
