package statedir

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// RecordSignature appends a certificate that this node has signed for another to the list of the
// rotation, durably. It is no record of the journal: the process that carries out orders writes
// that one. The list is removed together with the journal.
func (r *Rotation) RecordSignature(s nodeapi.Signature) error {
	line, err := json.Marshal(s)
	if err == nil {
		err = appendLine(r.signedPath(), line)
	}
	if err != nil {
		return fmt.Errorf("record a signature of rotation %q: %w", r.ID, err)
	}
	return nil
}

func (r *Rotation) signedPath() string { return filepath.Join(r.path, "signed.jsonl") }

// appendLine appends a line durably. It begins with a line end: a crash may have left the line
// before it incomplete.
func appendLine(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(append([]byte{'\n'}, line...), '\n'))
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return SyncDir(filepath.Dir(path))
}
