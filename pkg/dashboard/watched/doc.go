// Package watched follows a rotation that a dashboard has the watcher carry out, and makes its report
// of the status of its CertificateRotation, its plan and the agents' reports.
package watched
