"""AnalysisService, adapted to gRPC."""

from chorale_analysis.servicer.errors import ERRORS
from chorale_analysis.servicer.kinds import KINDS
from chorale_analysis.servicer.listening import Listening
from chorale_analysis.servicer.service import AnalysisServicer, AnalysisWorks

__all__ = ["ERRORS", "KINDS", "AnalysisServicer", "AnalysisWorks", "Listening"]
