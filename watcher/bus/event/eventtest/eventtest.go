// Package eventtest has an example of every event: those that docs/events.md shows, and
// that tests publish.
package eventtest

import (
	"strings"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/watcher/bus/event"
)

// Certificate is the one that the examples are about.
var Certificate = event.Certificate{
	Node: "cp1.example.org", Service: certs.KubeAPIServer, Name: "apiserver",
	Path: "/etc/kubernetes/pki/apiserver.crt", Subject: "CN=kube-apiserver", Issuer: "CN=kubernetes",
	SerialNumber: "5b3c1f0a9d2e4471", FingerprintSHA256: strings.Repeat("1f2e3d4c", 8),
	NotAfter: time.Date(2030, 6, 1, 12, 0, 0, 0, time.UTC),
}

// All are the examples, in the order of [event.AllTypes].
func All() []event.Data {
	renewed := Certificate
	renewed.SerialNumber = "77aa01c4"
	renewed.FingerprintSHA256 = strings.Repeat("90ab12cd", 8)
	renewed.NotAfter = Certificate.NotAfter.AddDate(1, 0, 0)
	rotation := event.Rotation{Name: "auto-3f9c2a71d0", RotationID: "20300517-093001-7c1e"}
	services := []certs.Service{certs.KubeAPIServer}
	return []event.Data{
		event.CertificateExpiring{Certificate: Certificate, Reason: "Due", Message: "expires in 15 days; a rotation is requested"},
		event.CertificateExpired{Certificate: Certificate, Reason: "NotifyOnly", Message: "expired 2 hours ago; the policy is notify-only"},
		event.CertificateCompromised{Service: certs.Etcd, Nodes: []string{"cp1.example.org"}, Reason: "backup of /etc was readable to all"},
		event.CertificateRenewed{Certificate: renewed, OldFingerprintSHA256: Certificate.FingerprintSHA256, OldNotAfter: &Certificate.NotAfter},
		event.CAExpiring{
			Name: "kubernetes", Nodes: []string{"cp1.example.org", "cp2.example.org"}, Path: "/etc/kubernetes/pki/ca.crt",
			Subject: "CN=kubernetes", SerialNumber: "01", FingerprintSHA256: strings.Repeat("c0ffee00", 8),
			NotAfter: Certificate.NotAfter, Message: "no certificate that it signs can outlive it: replace the CA",
		},
		event.RotationRequested{
			Name: rotation.Name, Services: services, Nodes: []string{"cp1.example.org"}, Restart: "IfNeeded",
			MaxUnavailable: "10%", Reason: event.ReasonExpiring, Fingerprints: []string{Certificate.FingerprintSHA256},
			Attempt: 1, Message: "kube-apiserver/apiserver on cp1.example.org expires in 15 days",
		},
		event.RotationAsked{Services: services, Cluster: "staging", User: "jane", Request: "6f1c9a52d0", Rotation: "asked-3f9c2a71d0b44e215c07"},
		event.RotationStarted{Rotation: rotation, Services: services, Nodes: []string{"cp1.example.org"}, Reason: event.ReasonExpiring},
		event.RotationNodeVerified{Rotation: rotation, Node: "cp1.example.org", Message: "kube-apiserver presents its new certificate and is ready"},
		event.RotationSucceeded{Outcome: event.Outcome{Rotation: rotation, Result: event.ResultSucceeded, Message: "1 node done and verified"}},
		event.RotationRolledBack{Outcome: event.Outcome{
			Rotation: rotation, Result: event.ResultRolledBack, Node: "cp1.example.org",
			Reason: "NotHealthy", Message: "kube-apiserver did not become ready within 60s; the old certificate is restored and verified",
		}},
		event.RotationFailed{Outcome: event.Outcome{
			Rotation: rotation, Result: event.ResultManualInterventionRequired, Node: "cp1.example.org",
			Reason: "Unreachable", Message: "cp1.example.org does not answer: its state is unknown",
		}},
	}
}
