// Package dashboard serves the pages of "kubectl rotate-certs dashboard": clusters, their
// certificates, and the dialog that plans and starts a rotation. It is the HTTP server only: a front
// end implements [Clusters], as package plugin does with the code of its commands.
package dashboard
