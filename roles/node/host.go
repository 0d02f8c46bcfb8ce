package node

import (
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"pdns-distribute/health"
)

// DescribeHost says how the host is; what cannot be read is left out. stateDir is where the node keeps its state, ""
// if it keeps none.
func DescribeHost(p *health.Presence, stateDir string) {
	p.Host.Name, _ = os.Hostname()
	p.Host.Load, p.Host.Cores = loadAverage(), runtime.NumCPU()
	if stateDir == "" {
		return
	}
	var fs syscall.Statfs_t
	if syscall.Statfs(stateDir, &fs) == nil {
		p.Host.DiskFree, p.Host.DiskTotal = fs.Bavail*uint64(fs.Bsize), fs.Blocks*uint64(fs.Bsize)
	}
}

// loadAverage is that of the last minute (proc(5)), 0 where it is not known.
func loadAverage() float64 {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return 0
	}
	first, _, _ := strings.Cut(string(text), " ")
	load, _ := strconv.ParseFloat(first, 64)
	return load
}
