package ssh

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/fleet"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/wait"
)

var (
	_ fleet.Nodes    = (*Hosts)(nil)
	_ fleet.Scanner  = (*Hosts)(nil)
	_ fleet.Observer = (*Hosts)(nil)
	_ fleet.API      = (*Hosts)(nil)
	_ fleet.Locker   = (*Hosts)(nil)
	_ fleet.Signers  = (*Hosts)(nil)
)

// atOnce is how many hosts are worked on at the same time.
const atOnce = 16

// Options say how hosts are reached.
type Options struct {
	Addresses []string // as the ssh program takes them: [USER@]HOST, or a name of its configuration
	Config    string   // file to use instead of the operator's configuration; empty: none
	// Program returns the file with the node program for an architecture ("amd64").
	Program func(arch string) (string, error)

	directory string // of the program on the hosts; empty: defaultDirectory
}

// Hosts are nodes that are reached over ssh. They stand in for all that a rotation needs of a
// cluster: see package fleet.
type Hosts struct {
	hosts []*host
	close func()

	mu     sync.Mutex
	byNode map[string]*host
	found  map[string]inventory.Node // by node, a scan that was not asked for yet
	roles  map[string]role           // by node
}

// Connect connects to all hosts, copies the program there and scans them. Where one cannot be
// worked on, the error has the reason for each. The caller calls Disconnect.
func Connect(ctx context.Context, o Options) (*Hosts, error) {
	for i, address := range o.Addresses {
		switch {
		case address == "" || strings.HasPrefix(address, "-") || strings.ContainsAny(address, " \t\n"):
			return nil, fmt.Errorf("host %q: want [USER@]HOST", address)
		case hasPort(address):
			return nil, hint.AddTo(fmt.Errorf("host %q: want [USER@]HOST without a port and without brackets", address),
				"name the port in your ssh configuration, or in a file for --ssh-config")
		case slices.Contains(o.Addresses[:i], address):
			return nil, fmt.Errorf("host %q is named twice", address)
		}
	}
	c, closeClient, err := newClient(o.Config)
	if err != nil {
		return nil, err
	}
	h := &Hosts{close: closeClient, hosts: make([]*host, len(o.Addresses)), byNode: map[string]*host{}, roles: map[string]role{}, found: map[string]inventory.Node{}}
	err = eachOf(o.Addresses, func(i int, address string) error {
		host, arch, err := connectHost(ctx, c, address, cmp.Or(o.directory, defaultDirectory))
		if err != nil {
			return err
		}
		h.hosts[i] = host
		file, err := o.Program(arch)
		if err != nil {
			return fmt.Errorf("host %q: %w", address, err)
		}
		if err := host.installProgram(ctx, file); err != nil {
			return fmt.Errorf("copy the node program: %w", err)
		}
		return h.scanHost(ctx, host, "")
	})
	if err != nil {
		_ = h.Disconnect(context.WithoutCancel(ctx)) // its error would hide the cause
		return nil, err
	}
	return h, nil
}

// hasPort reports whether an address has a port, or the brackets of one with a port: ssh takes both
// for a part of the name, except in a URI. An IPv6 address has several colons.
func hasPort(address string) bool {
	host := withoutUser(address)
	return !strings.HasPrefix(address, "ssh://") && (strings.HasPrefix(host, "[") || strings.Count(host, ":") == 1)
}

// eachOf calls f for all, some at the same time, and joins their errors in order.
func eachOf[T any](all []T, f func(i int, one T) error) error {
	failures := make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(atOnce)
	for i, one := range all {
		g.Go(func() error {
			failures[i] = f(i, one)
			return nil
		})
	}
	_ = g.Wait() // see failures
	return errors.Join(failures...)
}

// Disconnect removes the program from the hosts and closes the connections. Its error names the
// hosts where the program stays; the next use replaces it.
func (h *Hosts) Disconnect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wait.RequestTimeout)
	defer cancel()
	defer h.close()
	return eachOf(h.hosts, func(_ int, host *host) error {
		if host == nil {
			return nil
		}
		defer host.client.close(ctx, host.address)
		if host.program == "" {
			return nil
		}
		if err := host.removeProgram(ctx); err != nil {
			return fmt.Errorf("remove %q: %w", host.program, err)
		}
		return nil
	})
}
