package scan

import (
	"context"
	"encoding/base64"
	"path"
	"regexp"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

const (
	// maxHomes, maxKubeconfigs and maxCopies limit the scan of home directories.
	maxHomes       = 256
	maxKubeconfigs = 16
	maxCopies      = 256
)

// embeddedCert matches client certificates in kubeconfigs, YAML or JSON. The rest of these
// personal files is not parsed.
var embeddedCert = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`client-certificate-data"?\s*:\s*["']?([A-Za-z0-9+/=]+)`)
})

// findCopies finds the client certificates of the kubeconfigs in home directories. Unreadable
// files there are skipped. Home directories that do not answer are reported.
func findCopies(ctx context.Context, root hostfs.Root) ([]inventory.Copy, []inventory.NotInspected) {
	found := make(chan []inventory.Copy, 1)
	go func() { found <- searchHomes(root) }()
	// Home directories may be on a file server that does not answer.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	select {
	case out := <-found:
		return out, nil
	case <-ctx.Done():
		return nil, []inventory.NotInspected{{Path: "/home", Reason: "the search for copies of kubeconfigs took more than 1s", Informational: true}}
	}
}

func searchHomes(root hostfs.Root) (out []inventory.Copy) {
	homes := []string{"/root"}
	entries, _ := root.ReadDir("/home")
	for _, e := range entries[:min(len(entries), maxHomes)] {
		homes = append(homes, path.Join("/home", e.Name()))
	}
	for _, home := range homes {
		files, _ := root.ReadDir(path.Join(home, ".kube"))
		count := 0
		for _, e := range files {
			// A symlink is no copy: its target is scanned where it is.
			if !e.Type().IsRegular() {
				continue
			}
			if count++; count > maxKubeconfigs || len(out) >= maxCopies {
				break
			}
			out = append(out, copiesIn(root, path.Join(home, ".kube", e.Name()))...)
		}
	}
	return out[:min(len(out), maxCopies)]
}

func copiesIn(root hostfs.Root, file string) (out []inventory.Copy) {
	data, err := root.ReadFile(file)
	if err != nil {
		return nil
	}
	for _, m := range embeddedCert().FindAllSubmatch(data, maxCopies) {
		pem, err := base64.StdEncoding.DecodeString(string(m[1]))
		if err != nil {
			continue
		}
		if chain, err := certs.ParsePEM(pem); err == nil {
			out = append(out, inventory.Copy{Path: file, FingerprintSHA256: certs.Fingerprint(chain[0])})
		}
	}
	return out
}
