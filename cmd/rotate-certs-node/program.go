package main

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
	"github.com/rotate-certs/rotate-certs/pkg/node/layout"
	"github.com/rotate-certs/rotate-certs/pkg/node/nodecsr"
	"github.com/rotate-certs/rotate-certs/pkg/node/rotate"
	"github.com/rotate-certs/rotate-certs/pkg/node/scan"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
)

// program holds the state that the commands share.
type program struct {
	root, nodeName string
	stdout, stderr io.Writer
}

func (p *program) hostRoot() hostfs.Root { return hostfs.Root(p.root) }

// scanNode scans the node; for the command "scan" also the home directories.
func (p *program) scanNode(ctx context.Context, homes bool) inventory.Node {
	root := p.hostRoot()
	return scan.TakeInventory(ctx, root, scan.Options{
		NodeName: p.nodeName, Homes: homes,
		History: func() ([]inventory.NodeRotation, int64, error) { return statedir.ReadHistory(root) },
	})
}

// discoverNode is scanNode without certificates and endpoints: enough for health requests, and
// cheap enough to be repeated.
func (p *program) discoverNode() inventory.Node {
	return layout.DiscoverNode(p.hostRoot(), layout.Options{NodeName: p.nodeName}).Node
}

// newEngine returns the real engine; the caller closes it.
func (p *program) newEngine() (*rotate.Engine, func()) {
	root := p.hostRoot()
	found := p.discoverNode()
	runtime := &component.Runtime{
		Root: root, Node: found.Name,
		CRISocket: found.CRISocket, DBusSocket: found.DBusSocket, DockerSocket: found.DockerSocket,
	}
	e := &rotate.Engine{
		Root: root, Node: found.Name,
		Scan:      func(ctx context.Context) (inventory.Node, error) { return p.scanNode(ctx, false), ctx.Err() },
		Restarter: runtime, Commander: runtime, Prober: rotate.Live{Root: root}, LastLog: runtime.LastLog,
		Records: &lockedWriter{w: p.stdout}, Program: ownProgram,
		Warn: func(err error) { fmt.Fprintln(p.stderr, "warning:", hint.TextOf(err)) },
	}
	if found.KubeletConf != "" {
		e.Requests = &nodecsr.Requests{Root: root, Kubeconfig: found.KubeletConf, Node: found.Name}
	}
	return e, runtime.Close
}

// ownProgram is the path of this program, which can be read even if its file was replaced or
// removed.
const ownProgram = "/proc/self/exe"

// lockedWriter writes complete lines.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}
