// Package reported makes the list of certificates and the plan of a rotation of what agents report,
// where no node is scanned. It sends no requests.
package reported
