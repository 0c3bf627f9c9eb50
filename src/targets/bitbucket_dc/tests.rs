//! Bitbucket as the target sees it, scripted answer by answer.
