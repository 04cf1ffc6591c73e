package rotate

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/statedir"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
)

// transaction is everything that a commit, or its rollback by a later process, must know. It is
// stored with the staged files, and from the commit on with the backups. It holds no secret.
type transaction struct {
	Token          int64              `json:"token"`
	Order          int64              `json:"order"` // of the commit
	Restart        plan.RestartPolicy `json:"restart"`
	Timeout        time.Duration      `json:"timeout"`
	DestroyOldKeys bool               `json:"destroyOldKeys,omitempty"`
	// Node is the inventory of the scan while staging.
	Node     inventory.Node  `json:"node"`
	Restarts []certs.Service `json:"restarts,omitempty"`
	Items    []item          `json:"items,omitempty"`
	// Others are restarted as well: they read replaced files and are no components.
	Others []inventory.OtherUser `json:"others,omitempty"`
	// Stopped are those of them that did not run when the commit began. They read the new
	// files when they start.
	Stopped []inventory.OtherUser `json:"stopped,omitempty"`
	// Failing are those of Others that ran, and that had recently been restarted after they had
	// exited.
	Failing []inventory.OtherUser `json:"failing,omitempty"`
	// Unit is the systemd unit whose restart renews the items: this program writes none of
	// their files, and cannot put them back. UnitInstance is the instance that ran when the
	// commit began.
	Unit         string `json:"unit,omitempty"`
	UnitInstance string `json:"unitInstance,omitempty"`
	// UnitCommand renews the items, see plan.Step; empty: every start of the unit does.
	UnitCommand string `json:"unitCommand,omitempty"`
	// Began is when the commit began; an instance that is younger may have read
	// new files.
	Began time.Time `json:"began,omitzero"`
	// Unhealthy lists the health endpoints of components that were unhealthy before the commit.
	Unhealthy []string `json:"unhealthy,omitempty"`
	// Unasked lists those of running components that answered no health request of this node.
	Unasked []string `json:"unasked,omitempty"`
}

// item is one certificate's replacement.
type item struct {
	Certificate inventory.Certificate `json:"certificate"` // as it was
	New         certs.Facts           `json:"new"`
	// Accepted means that the server accepted the new certificate while staging. It must accept
	// it after the commit as well.
	Accepted bool `json:"accepted,omitempty"`
	// CA is the certificate of the CA that signed the old one and must sign the new one, as
	// PEM. It is set where a restart of transaction.Unit renews it.
	CA string `json:"ca,omitempty"`
	// KeptKey is why the old key is kept; empty: it is not.
	KeptKey string `json:"keptKey,omitempty"`
	// SignedBy is the node that signed the new certificate, if that was another one.
	SignedBy string `json:"signedBy,omitempty"`
	// Note is the reason why it could not be tried.
	Note string `json:"note,omitempty"`
}

func (i item) asRenewal() inventory.Renewal {
	return inventory.Renewal{ID: i.Certificate.ID(), Old: i.Certificate.Facts, New: i.New, KeptKey: i.KeptKey, SignedBy: i.SignedBy}
}

func (t *transaction) renewals() []inventory.Renewal {
	out := make([]inventory.Renewal, 0, len(t.Items))
	for _, i := range t.Items {
		out = append(out, i.asRenewal())
	}
	return out
}

// components returns the components of a service on this node that can be restarted; usually
// one.
func (t *transaction) components(s certs.Service) []inventory.Component {
	var out []inventory.Component
	for _, c := range t.Node.Components {
		if c.Service == s && (c.IsRestartable() || t.runsInUnit(c)) {
			out = append(out, c)
		}
	}
	return out
}

// isUsed reports whether a component that loads the certificate runs on this node, with any
// supervisor.
func (t *transaction) isUsed(i item) bool {
	return slices.ContainsFunc(t.Node.Components, func(c inventory.Component) bool {
		loads := c.Service == i.Certificate.Service || slices.Contains(i.Certificate.UsedBy, c.Service)
		return loads && (c.IsRestartable() || c.PID != 0)
	})
}

const transactionFile = "transaction.json"

func (t *transaction) saveTo(dir string) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("encode transaction: %w", err)
	}
	if err := store.WriteFile(filepath.Join(dir, transactionFile), data, 0o600); err != nil {
		return fmt.Errorf("save transaction: %w", err)
	}
	return nil
}

// loadTransaction fails with os.ErrNotExist where nothing was saved.
func loadTransaction(dir string) (*transaction, error) {
	data, err := os.ReadFile(filepath.Join(dir, transactionFile))
	if err != nil {
		return nil, fmt.Errorf("load transaction: %w", err)
	}
	var t transaction
	if err := json.Unmarshal(data, &t); err != nil {
		return nil, fmt.Errorf("load transaction: %w", err)
	}
	return &t, nil
}

// itemDir is the directory of the n-th item's files, below staged or backup.
func itemDir(dir string, n int) string { return filepath.Join(dir, strconv.Itoa(n)) }

// backupDir is where a commit keeps the files that it replaces. One rotation may commit more
// than once, when it is continued.
func backupDir(r *statedir.Rotation, order int64) string {
	return filepath.Join(r.BackupDir(), strconv.FormatInt(order, 10))
}

// saveMaterial writes a new certificate with its key for root only.
func saveMaterial(dir string, m store.Material) error {
	key, err := m.Key.PEM()
	if err != nil {
		return err
	}
	if err := statedir.MkdirAll(dir); err != nil {
		return err
	}
	if err := store.WriteFile(filepath.Join(dir, "key.pem"), key, 0o600); err != nil {
		return err
	}
	return store.WriteFile(filepath.Join(dir, "cert.pem"), certs.EncodePEM(m.Chain...), 0o600)
}

func loadMaterial(dir string) (store.Material, error) {
	keyPEM, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		return store.Material{}, err
	}
	key, err := certs.ParseKeyPEM(keyPEM)
	if err != nil {
		return store.Material{}, err
	}
	certPEM, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return store.Material{}, err
	}
	chain, err := certs.ParsePEM(certPEM)
	if err != nil {
		return store.Material{}, err
	}
	return store.Material{Chain: chain, Key: key}, nil
}

// discardStaged removes new keys and certificates that will not be used.
func (s *session) discardStaged() error {
	if err := os.RemoveAll(s.rotation.StagedDir()); err != nil {
		return fmt.Errorf("discard what was staged: %w", err)
	}
	return statedir.MkdirAll(s.rotation.StagedDir())
}
