package inventory

import (
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

func TestUseOfAKeyIsNamed(t *testing.T) {
	for kind, want := range map[KeyUseKind]string{
		ServiceAccountKey: "ServiceAccount tokens", SigningKey: "signs certificates", EtcdAuthKey: "tokens of etcd's users",
	} {
		if got := (KeyUse{Kind: kind, Service: certs.Etcd, Setting: "--x"}).String(); !strings.Contains(got, want) || !strings.Contains(got, "--x of etcd") {
			t.Errorf("%s: %q", kind, got)
		}
	}
}
