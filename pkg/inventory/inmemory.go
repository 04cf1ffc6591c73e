package inventory

import (
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// InMemory is a certificate that a component made at its start and keeps in memory. Only a
// restart of the component renews it.
type InMemory struct {
	certs.Facts
	Service    certs.Service `json:"service"`
	Name       string        `json:"name"`                 // "apiserver-loopback-client", "scheduler-server"
	Address    string        `json:"address"`              // where it is served, host:port
	ServerName string        `json:"serverName,omitempty"` // SNI by which it is served
	Status     certs.Status  `json:"status"`
	Reason     string        `json:"reason,omitempty"`
}

// RestartDue reports whether less than half of the certificate's life is left. Every rotation
// restarts the component then: the next rotation, when most of the life of today's certificates
// has passed, could be too late.
func (m InMemory) RestartDue(now time.Time) bool {
	return m.NotAfter.Sub(now) < m.NotAfter.Sub(m.NotBefore)/2
}
