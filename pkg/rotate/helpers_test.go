package rotate

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/journal"
	"github.com/rotate-certs/rotate-certs/pkg/journal/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

const rotationID = "7f3c2a"

// records collects what an engine writes, and may react.
type records struct {
	mu   sync.Mutex
	all  []journal.Record
	hook func(journal.Record) // called for each
}

func (r *records) Write(line []byte) (int, error) {
	var rec journal.Record
	if err := json.Unmarshal(line, &rec); err != nil {
		return 0, err
	}
	r.mu.Lock()
	r.all = append(r.all, rec)
	hook := r.hook
	r.mu.Unlock()
	if hook != nil {
		hook(rec)
	}
	return len(line), nil
}

func (r *records) kinds() string {
	var out []string
	for _, rec := range r.all {
		out = append(out, string(rec.Kind))
	}
	return strings.Join(out, " ")
}

func (r *records) of(kind journal.Kind) []journal.Record {
	var out []journal.Record
	for _, rec := range r.all {
		if rec.Kind == kind {
			out = append(out, rec)
		}
	}
	return out
}

func (r *records) last() journal.Record {
	if len(r.all) == 0 {
		return journal.Record{}
	}
	return r.all[len(r.all)-1]
}

// engine is an engine on a fake node, whose clock is the test's.
func (n *fakeNode) engine() (*Engine, *records) {
	r := &records{}
	return &Engine{
		Root: n.tree.Root, Node: "cp1", Scan: n.scan, Restarter: n, Prober: n, Records: r,
		Now: func() time.Time {
			n.alive() // asked before every record: the dead write none
			return n.now()
		},
		LastWords: func(_ context.Context, c inventory.Component) []string {
			return []string{"panic: bad certificate in " + string(c.Service)}
		},
		waitOrders: func(ctx context.Context, r *statedir.Rotation, after int64) ([]statedir.Order, error) {
			for {
				if orders, err := r.Orders(after); err != nil || len(orders) > 0 {
					return orders, err
				}
				select {
				case <-ctx.Done():
					return nil, ctx.Err()
				case <-time.After(100 * time.Millisecond):
				}
			}
		},
	}, r
}

// step plans some services of the node; none: all.
func (n *fakeNode) step(policy plan.RestartPolicy, services ...certs.Service) *plan.Step {
	n.t.Helper()
	if len(services) == 0 {
		services = certs.Services()
	}
	node, err := n.scan(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	step, err := stepOf(node, plan.Request{Services: services, Restart: policy})
	if err != nil {
		n.t.Fatal(err)
	}
	return step
}

// order puts an order into the node's inbox.
func (n *fakeNode) order(o plan.Order) {
	n.t.Helper()
	dir, err := statedir.Open(n.tree.Root)
	if err != nil {
		n.t.Fatal(err)
	}
	r, err := dir.Rotation(rotationID)
	if err != nil {
		n.t.Fatal(err)
	}
	o.Rotation = rotationID
	if o.Token == 0 {
		o.Token = 5
	}
	if _, err := r.PutOrder(o); err != nil {
		n.t.Fatal(err)
	}
}

func (n *fakeNode) stage(policy plan.RestartPolicy, services ...certs.Service) {
	n.t.Helper()
	n.order(plan.Order{Kind: plan.OrderStage, Step: n.step(policy, services...), Restart: policy, Scope: "test", StartTime: n.now()})
}

// orderAfter gives an order as soon as a record of a kind is written.
func (r *records) orderAfter(n *fakeNode, kind journal.Kind, orders ...plan.Order) {
	before := r.hook
	r.hook = func(rec journal.Record) {
		if before != nil {
			before(rec)
		}
		if rec.Kind == kind {
			for _, o := range orders {
				n.order(o)
			}
		}
	}
}

// run runs an engine as a process of its own would: it may be killed.
func run(t *testing.T, ctx context.Context, e *Engine) error { //nolint:revive // t first, as everywhere in tests
	t.Helper()
	err := errKilled
	var done sync.WaitGroup
	done.Go(func() { err = e.Run(ctx, rotationID) })
	done.Wait()
	return err
}

var errKilled = os.ErrProcessDone

// killAt ends the process at its n-th record.
func (n *fakeNode) killAt(r *records, count int) {
	r.hook = func(journal.Record) {
		r.mu.Lock()
		now := len(r.all) >= count
		r.mu.Unlock()
		if now {
			n.mu.Lock()
			n.dead = true
			n.mu.Unlock()
			runtime.Goexit()
		}
	}
}

// snapshot is every file of the node outside the state directory: content and mode.
func (n *fakeNode) snapshot() map[string]string {
	n.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(string(n.tree.Root), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		host := n.tree.Root.Host(path)
		if host == statedir.HostPath {
			return filepath.SkipDir
		}
		info, err := e.Info()
		if err != nil || e.IsDir() {
			return err
		}
		if e.Type()&fs.ModeSymlink != 0 {
			out[host], err = os.Readlink(path)
			return err
		}
		data, err := os.ReadFile(path)
		out[host] = info.Mode().String() + string(data)
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
	return out
}

// sameAs fails the test where files differ from a snapshot.
func (n *fakeNode) sameAs(before map[string]string) {
	n.t.Helper()
	after := n.snapshot()
	for path, was := range before {
		if after[path] != was {
			n.t.Errorf("%s is not as it was before", path)
		}
	}
	for path := range after {
		if _, there := before[path]; !there {
			n.t.Errorf("%s was left behind", path)
		}
	}
}

// allOld and allNew say what components have loaded and what is on disk.
func (n *fakeNode) isAll(isNew bool, services ...certs.Service) {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(services) == 0 {
		services = certs.Services()
	}
	for name, s := range owners {
		if !strings.Contains(joined(services), string(s)+",") {
			continue
		}
		if got := certs.Fingerprint(n.onDisk(name)) != n.original[name]; got != isNew {
			n.t.Errorf("%s on disk: new = %v, want %v", name, got, isNew)
		}
		f := n.all[s]
		if f == nil {
			continue
		}
		if !f.running {
			n.t.Errorf("%s does not run", s)
		}
		if got := certs.Fingerprint(f.loaded[name]) != n.original[name]; got != isNew {
			n.t.Errorf("%s loaded by %s: new = %v, want %v", name, s, got, isNew)
		}
	}
}

func joined(services []certs.Service) string {
	out := ""
	for _, s := range services {
		out += string(s) + ","
	}
	return out
}

// noSecrets fails the test where a private key shows in the journal, the inbox or a
// transaction.
func (n *fakeNode) noSecrets() {
	n.t.Helper()
	state := filepath.Join(string(n.tree.Root), statedir.HostPath)
	err := filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		if base := filepath.Base(path); base == "key.pem" || strings.HasSuffix(base, ".saved") || strings.HasPrefix(base, "pending-") {
			return nil
		}
		data, err := os.ReadFile(path)
		if bytes.Contains(data, []byte("PRIVATE KEY")) {
			n.t.Errorf("%s holds a private key", path)
		}
		return err
	})
	if err != nil {
		n.t.Fatal(err)
	}
}

// proven says whether there is evidence of a kind for the certificate in whose ID a
// text occurs.
func (r *records) proven(name string, method journal.Method) bool {
	for _, rec := range r.of(journal.Proven) {
		if strings.Contains(rec.Evidence.TargetID, "/"+name) && rec.Evidence.Method == method {
			return true
		}
	}
	return false
}

func (r *records) index(kind journal.Kind, s certs.Service) int {
	for n, rec := range r.all {
		if rec.Kind == kind && rec.Service == s {
			return n
		}
	}
	return -1
}

func (r *records) indexProven(name string) int {
	for n, rec := range r.all {
		if rec.Kind == journal.Proven && strings.Contains(rec.Evidence.TargetID, "/"+name) {
			return n
		}
	}
	return -1
}

func (n *fakeNode) stagedIsEmpty() {
	n.t.Helper()
	entries, err := os.ReadDir(n.state("staged"))
	if err != nil || len(entries) > 0 {
		n.t.Errorf("staged keys were left behind: %v, %v", entries, err)
	}
}

func (n *fakeNode) backupIsPrivate() {
	n.t.Helper()
	for _, path := range []string{"", "backup", "backup/2", "backup/2/0"} {
		info, err := os.Stat(n.state(path))
		if err != nil || info.Mode().Perm() != 0o700 {
			n.t.Errorf("%s: mode %v, %v; want 0700", path, info, err)
		}
	}
}

func pemBytes(t *testing.T, text string) []byte {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		t.Fatal("no PEM block")
	}
	return block.Bytes
}
